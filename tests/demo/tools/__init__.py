"""Small programs that run inside hosts of the demo's world; standard library only, and nothing of failsafe."""
