// Package failover exports the hook that says what becomes of the volumes of a silent node.
package failover

import "flocker"

var policy flocker.Failover

// Export lets the node ask the policy. Called once, from an init function.
func Export(of flocker.Failover) {
	policy = of
	export()
}
