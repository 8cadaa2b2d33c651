"""What the tests stand on: real servers and workers, each a process that a test may kill or freeze."""
