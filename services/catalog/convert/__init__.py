"""Between the contract's messages and the store's rows, one module for each resource."""
