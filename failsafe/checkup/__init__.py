"""What the doctor looks at, one file a thing; run.py looks at all of it. The judges are in failover/ and backup/."""
