"""The whole Nexus on one machine: one parent that starts provider, proxy, service, hub and culler, and ends them."""
