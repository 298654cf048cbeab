"""Tests of README and docs: every snippet is run or checked, every page is current, every link leads somewhere."""
