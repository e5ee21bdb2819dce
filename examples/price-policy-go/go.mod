module policy/price

go 1.24

require flocker v0.0.0

replace flocker => ../../sdk/go
