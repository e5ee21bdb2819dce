package flocker

import (
	"time"

	"flocker/internal/table"
)

// Node is a machine of the cluster.
type Node struct{ row table.Row }

// Number is any number column of the table `nodes` in wit/columns.md, and whether it has one.
func (r Node) Number(column string) (uint64, bool) { return r.row.Number(column) }

// Text is any text column of the table `nodes` in wit/columns.md, and whether it has one.
func (r Node) Text(column string) (string, bool) { return r.row.Text(column) }

// Same is whether they are one and the same.
func (r Node) Same(other Node) bool { return r.row.Place() == other.row.Place() }

// Name is its name.
func (r Node) Name() string { return orZero(r.row.Text("name")) }

// IsAlive is whether it answered lately.
func (r Node) IsAlive() bool { return orZero(r.row.Number("alive")) != 0 }

// IsDraining is whether an operator wants it empty.
func (r Node) IsDraining() bool { return orZero(r.row.Number("draining")) != 0 }

// Memory is what the machine has, in bytes; 0 while it has not said.
func (r Node) Memory() uint64 { return orZero(r.row.Number("memory-bytes")) }

// MemoryFree is memory that no app was promised, in bytes.
func (r Node) MemoryFree() uint64 { return orZero(r.row.Number("memory-free-bytes")) }

// MemoryPromised is memory that apps were promised, in bytes.
func (r Node) MemoryPromised() uint64 { return orZero(r.row.Number("memory-promised-bytes")) }

// CPUMillis is the CPUs of the machine, in thousandths.
func (r Node) CPUMillis() uint64 { return orZero(r.row.Number("cpu-millis")) }

// CPUPromisedMillis is CPU that apps were promised, in thousandths.
func (r Node) CPUPromisedMillis() uint64 { return orZero(r.row.Number("cpu-promised-millis")) }

// Pool is the size of its storage pool, in bytes.
func (r Node) Pool() uint64 { return orZero(r.row.Number("pool-bytes")) }

// PoolFree is what is free in its storage pool, in bytes.
func (r Node) PoolFree() uint64 { return orZero(r.row.Number("pool-free-bytes")) }

// LoadMillis is the one-minute load average, in thousandths.
func (r Node) LoadMillis() uint64 { return orZero(r.row.Number("load-millis")) }

// Apps is how many apps it holds, arriving ones included.
func (r Node) Apps() uint64 { return orZero(r.row.Number("apps")) }

// Volumes is how many volumes it owns.
func (r Node) Volumes() uint64 { return orZero(r.row.Number("volumes")) }

// Residents are the apps that it holds, arriving ones included.
func (r Node) Residents() []App {
	rows := r.row.Referring("apps", "node")
	found := make([]App, len(rows))
	for i, row := range rows {
		found[i] = App{row}
	}
	return found
}

// Label is a label, from its configuration or from an operator, and whether it has it.
func (r Node) Label(key string) (string, bool) { return r.row.Text("label:" + key) }

// App is a unit of containers, volumes and ports.
type App struct{ row table.Row }

// Number is any number column of the table `apps` in wit/columns.md, and whether it has one.
func (r App) Number(column string) (uint64, bool) { return r.row.Number(column) }

// Text is any text column of the table `apps` in wit/columns.md, and whether it has one.
func (r App) Text(column string) (string, bool) { return r.row.Text(column) }

// Same is whether they are one and the same.
func (r App) Same(other App) bool { return r.row.Place() == other.row.Place() }

// Name is its name.
func (r App) Name() string { return orZero(r.row.Text("name")) }

// Node is where it is, if anywhere.
func (r App) Node() (Node, bool) {
	row, ok := r.row.Reference("node", "nodes")
	return Node{row}, ok
}

// Memory is what it may use, in bytes; 0 where it is not limited.
func (r App) Memory() uint64 { return orZero(r.row.Number("memory-bytes")) }

// CPUMillis is what it may use, in thousandths of a CPU; 0 where it is not limited.
func (r App) CPUMillis() uint64 { return orZero(r.row.Number("cpu-millis")) }

// Size is what its volumes may hold, in bytes.
func (r App) Size() uint64 { return orZero(r.row.Number("size-bytes")) }

// Placed is when it came to its node, if that is known.
func (r App) Placed() (time.Time, bool) { return moment(r.row.Number("placed-ms")) }

// Volumes are what it keeps its data in.
func (r App) Volumes() []Volume {
	rows := r.row.Referring("volumes", "app")
	found := make([]Volume, len(rows))
	for i, row := range rows {
		found[i] = Volume{row}
	}
	return found
}

// Label is a label of its containers, and whether it has it.
func (r App) Label(key string) (string, bool) { return r.row.Text("label:" + key) }

// Volume is data of an app.
type Volume struct{ row table.Row }

// Number is any number column of the table `volumes` in wit/columns.md, and whether it has one.
func (r Volume) Number(column string) (uint64, bool) { return r.row.Number(column) }

// Text is any text column of the table `volumes` in wit/columns.md, and whether it has one.
func (r Volume) Text(column string) (string, bool) { return r.row.Text(column) }

// Same is whether they are one and the same.
func (r Volume) Same(other Volume) bool { return r.row.Place() == other.row.Place() }

// Name is its name.
func (r Volume) Name() string { return orZero(r.row.Text("name")) }

// App is who uses it.
func (r Volume) App() (App, bool) {
	row, ok := r.row.Reference("app", "apps")
	return App{row}, ok
}

// Node is its owner.
func (r Volume) Node() (Node, bool) {
	row, ok := r.row.Reference("node", "nodes")
	return Node{row}, ok
}

// Size is what may be written to it, in bytes.
func (r Volume) Size() uint64 { return orZero(r.row.Number("size-bytes")) }

// Used is what is written to it, in bytes.
func (r Volume) Used() uint64 { return orZero(r.row.Number("used-bytes")) }

// Written is when somebody was last seen to write to it, if that is known.
func (r Volume) Written() (time.Time, bool) { return moment(r.row.Number("written-ms")) }

// Snapshot is when its newest snapshot by schedule was taken, if there is one.
func (r Volume) Snapshot() (time.Time, bool) { return moment(r.row.Number("snapshot-ms")) }

// Replicas are its copies on other nodes.
func (r Volume) Replicas() []Replica {
	rows := r.row.Referring("replicas", "volume")
	found := make([]Replica, len(rows))
	for i, row := range rows {
		found[i] = Replica{row}
	}
	return found
}

// Replica is a copy of a volume on another node.
type Replica struct{ row table.Row }

// Number is any number column of the table `replicas` in wit/columns.md, and whether it has one.
func (r Replica) Number(column string) (uint64, bool) { return r.row.Number(column) }

// Text is any text column of the table `replicas` in wit/columns.md, and whether it has one.
func (r Replica) Text(column string) (string, bool) { return r.row.Text(column) }

// Same is whether they are one and the same.
func (r Replica) Same(other Replica) bool { return r.row.Place() == other.row.Place() }

// Volume is what it is a copy of.
func (r Replica) Volume() (Volume, bool) {
	row, ok := r.row.Reference("volume", "volumes")
	return Volume{row}, ok
}

// Node is where it is.
func (r Replica) Node() (Node, bool) {
	row, ok := r.row.Reference("node", "nodes")
	return Node{row}, ok
}

// Taken is when the snapshot that it holds was taken, if that is known.
func (r Replica) Taken() (time.Time, bool) { return moment(r.row.Number("taken-ms")) }

// Place is for the packages of the hooks.
func (r Node) Place() uint32 { return r.row.Place() }

// Place is for the packages of the hooks.
func (r App) Place() uint32 { return r.row.Place() }

// orZero forgets whether there was one.
func orZero[T any](value T, _ bool) T { return value }

func moment(ms uint64, ok bool) (time.Time, bool) {
	if !ok {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(ms)).UTC(), true
}
