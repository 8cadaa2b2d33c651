"""The report of the bench: made from JSON, and the page of the documentation is what its JSON makes."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pages import REPOSITORY

BENCHMARKS = REPOSITORY / "tests" / "benchmarks"
SMALL = Path(__file__).parent / "small-run.json"
# Behind all others: the scripts there have names of their own.
sys.path.append(str(BENCHMARKS))

import bench  # noqa: E402
import report  # noqa: E402
from reporting import forms  # noqa: E402
from reporting.figures import Part, Run, reduced  # noqa: E402
from reporting.parts import PARTS, Step  # noqa: E402
from reporting.plots import PLOTS  # noqa: E402
from reporting.targets import TARGETS, rows  # noqa: E402


@pytest.fixture
def small():
    return Run.read(json.loads(SMALL.read_text("utf-8")))


def by_name(run):
    return {row.target.what: row for row in rows(run)}


def test_the_page_and_its_plots_are_what_the_kept_figures_make(tmp_path):
    kept = report.DOCS / "pictures" / "performance"
    page = tmp_path / "performance.md"
    report.write(report.read(report.KEPT), page, tmp_path / "made", "../pictures/performance")
    told = "figures are no matter of hands: run tests/benchmarks/report.py"
    assert (report.KEPT.with_suffix(".md")).read_text("utf-8") == page.read_text("utf-8"), told
    made = {file.name: file.read_text("utf-8") for file in (tmp_path / "made").glob("*.svg")}
    assert {file.name: file.read_text("utf-8") for file in kept.glob("*.svg")} == made, told


def test_a_run_becomes_a_page_with_all_tables_and_plots(small, tmp_path):
    report.write(small, tmp_path / "page.md", tmp_path, ".")
    page = (tmp_path / "page.md").read_text("utf-8")
    assert "{{" not in page
    assert page.count("| 20 ms |") == 1
    assert {file.stem for file in tmp_path.glob("*.svg")} == set(PLOTS)
    for file in tmp_path.glob("*.svg"):
        ET.fromstring(file.read_text("utf-8"))
        assert f"(./{file.name})" in page


def test_a_target_is_met_by_its_ratio_of_medians(small):
    found = by_name(small)
    row = found["`post_in` to `apply_async(countdown)`"]
    assert (row.figure, row.met) == (2.5, True)
    row = found["`DTimer.post` to the raw round trip"]
    assert (row.figure, row.met) == (0.8, False)


def test_a_target_that_is_not_met_leads_to_its_profile(small):
    headings = [
        line.removeprefix("## ").lower().replace(" ", "-")
        for line in (report.DOCS / "project" / "speed.md").read_text("utf-8").splitlines()
        if line.startswith("## ")
    ]
    assert {target.heading for target in TARGETS} <= set(headings)
    assert "| 0.80 | [**no**](../project/speed.md#posting-an-event) |" in report.page(small, ".")


def test_a_part_that_failed_is_told_and_the_others_stay(small):
    failed = Run(small.date, small.machine, {**small.parts, "posting": Part("failed with status 1")})
    found = by_name(failed)
    row = found["`post_in` to `apply_async(countdown)`"]
    assert (row.figure, row.met, row.why) == (None, None, "failed with status 1")
    assert found["drain, prefork: to plain tasks"].met is not None
    assert "| `posting` | 0 s | failed with status 1 |" in report.page(failed, ".")


def test_a_run_without_any_part_has_a_page_too(small, tmp_path):
    empty = Run(small.date, small.machine, {})
    report.write(empty, tmp_path / "page.md", tmp_path, ".")
    assert {row.why for row in rows(empty)} == {"not run"}
    assert list(tmp_path.glob("*.svg")) == []
    assert "0 of " in report.on_terminal(rows(empty))


def test_long_lists_are_kept_as_their_quantiles():
    figures = reduced({"a": [[n / 1000 for n in range(1000)]], "b": [1.23456789], "c": [None, []]})
    assert figures["a"][0][50] == 0.5
    assert figures["a"][0][99] == 0.99
    assert len(figures["a"][0]) == 101
    assert figures["b"] == [1.23457]
    assert figures["c"] == []


def test_what_a_peer_failed_with_is_told_without_places_of_this_machine():
    failure = "ERROR: no version for Python 3.11 at https://mirror.example/simple/x and /home/someone/cache/x.whl"
    peers = {"huey": {"note": "8 threads", "early": 0, "never": 2, "failures": [failure]}}
    found = forms.notes({"peers": peers, "not_installed": {"other": failure}})
    told = "ERROR: no version for Python 3.11 at ... and ..."
    assert found == {
        "huey": f"8 threads; 2 jobs had not run after 4 s; failed: {told}",
        "other": f"not installed: {told}",
    }


def test_a_script_that_fails_or_takes_too_long_is_told(tmp_path):
    failing, long = tmp_path / "failing.py", tmp_path / "long.py"
    failing.write_text("raise SystemExit(3)")
    long.write_text("import time; time.sleep(60)")
    kept = tmp_path / "kept.json"
    assert bench.step_taken(Step(str(failing), 1), kept, quick=True, seconds=20) == "failed with status 3"
    assert bench.step_taken(Step(str(long), 1), kept, quick=True, seconds=0.5) == "took longer than 0 s"


def test_every_part_of_the_bench_has_its_script():
    scripts = {step.script for steps in PARTS.values() for step in steps}
    assert {script for script in scripts if not (BENCHMARKS / script).is_file()} == set()
    assert {target.part for target in TARGETS} <= set(PARTS)
