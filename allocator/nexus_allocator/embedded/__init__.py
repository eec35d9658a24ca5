"""The whole Nexus on one machine: a parent that starts provider, proxy, service, hub and culler."""
