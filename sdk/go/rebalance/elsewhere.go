//go:build !wasip1

package rebalance

// Off the node, in tests, nobody asks.
func export() {}
