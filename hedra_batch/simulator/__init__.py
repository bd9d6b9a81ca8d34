"""A stand-in for the video API, to try, test and break a batch without paying; it shares no code with the client."""
