# Thin: each line calls a tool you could call yourself.
.PHONY: up down test lint bench test-hub6 lock
bin := .venv/bin

up: ## start the whole Nexus on this machine, in the foreground
	@./bootstrap run
	@$(bin)/python -m nexus_allocator.embedded up

down: ## stop what a crash left behind
	@./bootstrap run
	@$(bin)/python -m nexus_allocator.embedded down

test: lint ## everything CI runs
	$(bin)/pytest

lint: ## style, types, layers
	@./bootstrap test
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

lock: ## resolve the lock files again
	./bootstrap lock
