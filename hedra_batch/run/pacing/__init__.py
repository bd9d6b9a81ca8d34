"""When a request may be sent, how many at once, and how long a failing API is waited for."""
