"""The command line: arguments, output and exit codes; the only place that prints or exits."""
