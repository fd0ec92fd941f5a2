"""TOML -> typed, validated, frozen values; every fault at once, each with its key.

Import from the modules: `load` (finds and validates), `schema` (the tables), `types`, `files`. Nothing is imported here, because pydantic
costs more time than `failsafe status` may take; `find` does without it.
"""
