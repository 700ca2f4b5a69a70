"""What Django's own test suite is run with: the settings of each engine, and a runner that keeps every outcome."""
