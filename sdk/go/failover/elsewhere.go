//go:build !wasip1

package failover

// Off the node, in tests, nobody asks.
func export() {}
