"""The files that a code host and pre-commit read: valid by their schemas, and about what there is here."""

import re
import runpy
import sys
import zipfile

import pytest
import yaml
from conftest import REPOSITORY, run

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
#: check-jsonschema has them from json.schemastore.org, each as it was when that was released.
SCHEMAS = {
    **dict.fromkeys(WORKFLOWS, "vendor.github-workflows"),
    **dict.fromkeys(sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), "vendor.github-issue-forms"),
    GITHUB / "ISSUE_TEMPLATE" / "config.yml": "vendor.github-issue-config",
}

faults = runpy.run_path(str(GITHUB / "check_release.py"))["faults"]


def of(file):
    return yaml.safe_load(file.read_text("utf-8"))


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: file.name)
def test_a_file_of_the_code_host_follows_its_schema(file):
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[file], file)


def test_the_hooks_are_read_by_pre_commit_and_are_the_linters_of_make_lint():
    run(sys.executable, "-m", "pre_commit", "validate-config", cwd=REPOSITORY)
    [repository] = of(REPOSITORY / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for hook in repository["hooks"]:
        assert hook["entry"].removesuffix(" --force-exclude").rpartition("/")[2].split()[0] in makefile


def test_every_push_runs_what_the_clone_runs():
    jobs = of(GITHUB / "workflows" / "ci.yml")["jobs"].values()
    assert ".ci/run" in [step.get("run") for job in jobs for step in job["steps"]]


def test_only_a_job_that_publishes_has_a_token_and_only_in_an_environment():
    for file in WORKFLOWS:
        workflow = of(file)
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            publishes = any("pypi-publish" in step.get("uses", "") for step in job["steps"])
            assert publishes == ("id-token" in job.get("permissions", {})) == ("environment" in job)


def test_every_session_that_a_workflow_runs_exists():
    sessions = (REPOSITORY / "noxfile.py").read_text("utf-8")
    matrix = of(GITHUB / "workflows" / "ci.yml")["jobs"]["versions"]["strategy"]["matrix"]["include"]
    for entry in matrix:
        assert f"def {entry['session'].partition('-')[0]}(" in sessions
        assert f'"{entry["python"]}"' in sessions


class TestARelease:
    """``check_release.py`` stops what does not fit together."""

    TAG = "v1.2.3"

    @pytest.fixture
    def folder(self, tmp_path):
        dist = tmp_path / "dist"
        dist.mkdir()
        (dist / "celery_dtimer-1.2.3.tar.gz").touch()
        with zipfile.ZipFile(dist / "celery_dtimer-1.2.3-py3-none-any.whl", "w") as wheel:
            urls = "Project-URL: Source, https://example.org/owner/name\n"
            wheel.writestr("celery_dtimer-1.2.3.dist-info/METADATA", f"Name: celery-dtimer\n{urls}\n")
        (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [1.2.3] - 2027-01-31\n")
        return tmp_path

    def test_one_that_fits_together_may_be_published(self, folder):
        assert faults(self.TAG, "owner/name", folder) == []

    def test_a_version_that_is_not_the_tags_is_stopped(self, folder):
        found = faults("v1.2.4", "owner/name", folder)
        assert [re.match(r"\S+", fault)[0] for fault in found] == ["dist/", "dist/", "CHANGELOG.md"]

    def test_addresses_that_lead_elsewhere_are_stopped(self, folder):
        [fault] = faults(self.TAG, "somebody/else", folder)
        assert "project.urls" in fault

    def test_a_changelog_without_the_day_is_stopped(self, folder):
        (folder / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [1.2.3]\n")
        [fault] = faults(self.TAG, "owner/name", folder)
        assert "YYYY-MM-DD" in fault
