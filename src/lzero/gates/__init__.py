"""The random variables: hard-concrete gates and the flat parameter that holds them."""
