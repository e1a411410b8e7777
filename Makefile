SHELL := /bin/bash

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: generate
generate: ## generated code anew: protobuf and Connect, beside each .proto file
	dir=$$(.tools/tool buf protoc-gen-go protoc-gen-connect-go) && cd proto && PATH="$$dir:$$PATH" buf lint && PATH="$$dir:$$PATH" buf generate
