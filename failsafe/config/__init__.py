"""TOML -> typed, validated, frozen values; every fault at once, each with its key."""

from failsafe.config.load import default_paths, find_config, load_config, parse_config
from failsafe.config.schema import (
    Canary,
    CheckPlan,
    Config,
    Controller,
    Dns,
    Domain,
    EndpointTable,
    Homecoming,
    MailServer,
    Notify,
    Probe,
    RepositoryTable,
    Vantage,
    Web,
)

__all__ = [
    "Canary",
    "CheckPlan",
    "Config",
    "Controller",
    "Dns",
    "Domain",
    "EndpointTable",
    "Homecoming",
    "MailServer",
    "Notify",
    "Probe",
    "RepositoryTable",
    "Vantage",
    "Web",
    "default_paths",
    "find_config",
    "load_config",
    "parse_config",
]
