"""Version 2 of Hedra's API: requests, answers as our types, refusals as our errors. Nothing here retries."""
