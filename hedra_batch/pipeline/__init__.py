"""The stations that a job passes: upload, submit, settle, track, fetch; their pace; the runner that wires them."""
