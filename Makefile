# Thin: each line calls a tool you could call yourself.
.PHONY: up down test lint bench notebooks closure interop test-hub6 cluster-tools cluster-test deploy images lock
bin := .venv/bin
hub6 := .venv-hub6

up: ## start the whole Nexus on this machine, in the foreground
	@./bootstrap run
	@$(bin)/python -m nexus_allocator.embedded up

down: ## stop what a crash left behind
	@./bootstrap run
	@$(bin)/python -m nexus_allocator.embedded down

test: lint ## everything CI runs, files shared out to two workers
	$(bin)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: ## style, types, layers
	@./bootstrap test
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

bench: ## print the figures that README and notes quote
	@./bootstrap test
	$(bin)/python -m tests.bench.allocator
	MACHINE_EXAMPLES=200 $(bin)/pytest -q -s --timeout=7200 tests/allocator/test_machine.py
	SCHEMATHESIS_EXAMPLES=300 $(bin)/pytest -q -s tests/allocator/test_openapi.py
	$(bin)/python -m tests.bench.ramp_fitting
	$(bin)/python -m tests.bench.steps
	$(bin)/python -m tests.bench.refpix
	$(bin)/python -m tests.bench.exposure
	$(bin)/python -m tests.bench.snowballs
	$(bin)/python -m tests.bench.fpa
	$(bin)/python -m tests.bench.simulate
	$(bin)/python -m tests.bench.registration
	$(bin)/python -m tests.bench.psf
	$(bin)/python -m tests.bench.catalog
	$(bin)/python -m tests.bench.blends
	$(bin)/python -m tests.bench.completeness
	$(bin)/python -m tests.bench.fluxes
	$(bin)/python -m tests.bench.colours
	$(bin)/python -m tests.bench.star_probability
	$(bin)/python -m tests.bench.shapes
	$(bin)/python -m tests.bench.inject
	$(bin)/python -m tests.bench.mosaic
	$(bin)/python -m tests.bench.skymap
	$(bin)/python -m tests.bench.survey
	$(bin)/python -m tests.bench.scanner
	$(bin)/python -m tests.bench.purge
	$(bin)/python -m tests.bench.purged_quarter
	$(bin)/python -m tests.bench.cluster

notebooks: ## every notebook, whole, into .nexus/notebooks
	@./bootstrap test
	NEXUS_STORE_URL=file://$(CURDIR)/.nexus/notebooks $(bin)/jupyter execute --timeout=1800 notebooks/*/*.ipynb

closure: ## stars of each brightness through simulation, calibration and photometry: the whole table
	@./bootstrap test
	$(bin)/python -m tests.closure.table

interop: ## our L2 beside romancal's, of the same ramps and references
	@./bootstrap test
	$(bin)/python -m tests.interop.table

test-hub6: ## the hub's tests on JupyterHub 6, in an environment of their own
	@./bootstrap test
	test -x $(hub6)/bin/python || $(bin)/uv venv -q $(hub6) --python $(bin)/python
	sed '/^jupyterhub==/d' requirements-dev.lock > $(hub6)/requirements.txt
	echo 'jupyterhub>=6.1,<6.2' >> $(hub6)/requirements.txt
	$(bin)/uv pip install -q --python $(hub6)/bin/python -r $(hub6)/requirements.txt
	PYTHONPATH=$(CURDIR)/allocator:$(CURDIR)/pipeline $(CURDIR)/$(hub6)/bin/python -m pytest tests/hub -p no:cacheprovider

images: ## build with buildah, podman or docker, and verify inside: NAMES="hub lab" BASE=debian:trixie-slim
	python3 images/build.py $(NAMES)

cluster-tools: ## build the control plane that tests/cluster starts, once, into the cache outside the clone
	@./bootstrap test
	$(bin)/python -m tests.support.cluster_tools

cluster-test: ## pods on a real kubelet and, of built images, the Nexus; as root on a machine with containerd; builds its programs once
	@./bootstrap test
	$(bin)/python -m tests.support.cluster_tools
	$(bin)/python -m tests.support.node_tools
	NEXUS_REAL_NODE=1 $(bin)/python -m pytest tests/cluster/test_node.py tests/cluster/test_node_nexus.py

deploy: ## show what would change in the cluster of kubectl's context and, once told to, change it: make deploy ENV=dev
	helm/deploy $(ENV)

lock: ## resolve the lock files again
	./bootstrap lock
