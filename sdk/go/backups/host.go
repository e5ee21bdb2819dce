//go:build wasip1

package backups

import (
	"unsafe"

	"flocker"
	"flocker/internal/abi"
	"flocker/internal/table"
)

func export() {}

//go:wasmexport flocker:plugin/backup-schedule@0.1.0#next
func next(_, _ uint32, now, _, _ uint64, _, _, _, view, volumes, nVolumes uint32, horizonMs uint64) unsafe.Pointer {
	return abi.Answer(abi.View(view), func() abi.Schedule {
		cluster := flocker.ClusterOf(table.Of(abi.View(view)))
		horizon := abi.Span(horizonMs)
		var found []abi.Due
		for _, row := range abi.ListAt[uint32](volumes, nVolumes).Get() {
			for _, due := range policy.Due(cluster, cluster.VolumeAt(row), abi.Moment(now), horizon) {
				found = append(found, abi.Due{
					Volume: row,
					AtMs:   uint64(max(due.At.UnixMilli(), 0)),
					Lane:   abi.Text(due.Lane),
					Label:  abi.Text(due.Label),
				})
			}
		}
		again := horizon
		if patient, ok := policy.(flocker.Patient); ok {
			again = patient.AskAgain(horizon)
		}
		return abi.Schedule{Due: abi.ListOf(found), AskAgainMs: uint64(max(again.Milliseconds(), 0))}
	})
}

//go:wasmexport cabi_post_flocker:plugin/backup-schedule@0.1.0#next
func nextDone(unsafe.Pointer) { abi.Done() }

//go:wasmexport flocker:plugin/backup-schedule@0.1.0#prune
func prune(_, _ uint32, now, _, _ uint64, _, _, _, view, volume, lane, nLane, copies, nCopies uint32) unsafe.Pointer {
	return abi.Answer(abi.View(view), func() abi.List[abi.Droppable] {
		pruner, ok := policy.(flocker.Pruner)
		if !ok {
			return abi.List[abi.Droppable]{}
		}
		cluster := flocker.ClusterOf(table.Of(abi.View(view)))
		var known []flocker.Copy
		for _, copied := range abi.ListAt[abi.BackupCopy](copies, nCopies).Get() {
			known = append(known, flocker.Copy{
				Tag:   copied.Tag.Get(),
				Label: copied.Label.Get(),
				Taken: abi.Moment(copied.TakenMs),
				Bytes: copied.Bytes,
			})
		}
		in := abi.StringAt(lane, nLane).Get()
		var mayGo []abi.Droppable
		for _, drop := range pruner.Prune(cluster.VolumeAt(volume), in, known, abi.Moment(now)) {
			// A position that is none is no copy's, and refused as such.
			mayGo = append(mayGo, abi.Droppable{Copy: uint32(drop.Copy), Reason: abi.Text(drop.Reason)})
		}
		return abi.ListOf(mayGo)
	})
}

//go:wasmexport cabi_post_flocker:plugin/backup-schedule@0.1.0#prune
func pruneDone(unsafe.Pointer) { abi.Done() }
