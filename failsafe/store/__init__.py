"""The shared database: schema, engine, events, journal, history, duties, lease. SQLAlchemy is imported nowhere else."""
