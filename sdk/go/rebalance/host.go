//go:build wasip1

package rebalance

import (
	"unsafe"

	"flocker"
	"flocker/internal/abi"
	"flocker/internal/table"
)

func export() {}

//go:wasmexport flocker:plugin/rebalance@0.1.0#plan
func plan(_, _ uint32, _, _, _ uint64, _, _, _, view, movable, nMovable, most uint32) unsafe.Pointer {
	return abi.Answer(abi.View(view), func() abi.List[abi.Move] {
		cluster := flocker.ClusterOf(table.Of(abi.View(view)))
		var apps []flocker.App
		for _, row := range abi.ListAt[uint32](movable, nMovable).Get() {
			apps = append(apps, cluster.AppAt(row))
		}
		var moves []abi.Move
		for _, move := range policy.Plan(cluster, apps, int(most)) {
			moves = append(moves, abi.Move{
				App:    move.App.Place(),
				Target: move.Target.Place(),
				Gain:   move.Gain,
				Reason: abi.Text(move.Reason),
			})
		}
		return abi.ListOf(moves)
	})
}

//go:wasmexport cabi_post_flocker:plugin/rebalance@0.1.0#plan
func done(unsafe.Pointer) { abi.Done() }
