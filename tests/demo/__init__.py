"""The whole story in a small world of real servers: `python -m tests.demo [--keep]`.

What failsafe says is never taken for granted here: each step ends with a look by another program (restic itself, kdig, Python's
own imaplib, the Maildir files on the servers' disks). No pytest.
"""
