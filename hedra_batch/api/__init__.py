"""The only HTTP client code: requests, answers as our types, refusals as our errors. Nothing here retries."""
