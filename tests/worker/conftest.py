"""What the tests of the worker report; what they share is in rig/timed.py."""


def pytest_terminal_summary(terminalreporter):
    """Show the matrix of outcomes as it was observed."""
    found = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "outcome" and report.when == "call":
                    outcome, pool, observed = value
                    found.setdefault(outcome, {})[pool] = observed
    if found:
        terminalreporter.section("outcomes")
        for outcome, pools in found.items():
            by_observed = {}
            for pool, observed in pools.items():
                by_observed.setdefault(observed, []).append(pool)
            told = "; ".join(f"{observed}: {', '.join(sorted(of))}" for observed, of in by_observed.items())
            terminalreporter.write_line(f"{outcome} -> {told}")
