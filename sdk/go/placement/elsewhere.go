//go:build !wasip1

package placement

// Off the node, in tests, nobody asks.
func export() {}
