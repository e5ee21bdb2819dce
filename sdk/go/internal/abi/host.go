//go:build wasip1

package abi

import "unsafe"

// Levels of the log.
const (
	LevelInfo  = 2
	LevelWarn  = 3
	LevelError = 4
)

// View is the cluster, lent for one call.
type View uint32

//go:wasmimport flocker:plugin/cluster@0.1.0 [method]view.rows
func viewRows(view uint32, table string, out unsafe.Pointer)

//go:wasmimport flocker:plugin/cluster@0.1.0 [method]view.u64s
func viewU64s(view uint32, table, column string, out unsafe.Pointer)

//go:wasmimport flocker:plugin/cluster@0.1.0 [method]view.ids
func viewIDs(view uint32, table, column string, out unsafe.Pointer)

//go:wasmimport flocker:plugin/cluster@0.1.0 [method]view.texts
func viewTexts(view uint32, ids unsafe.Pointer, length uint32, out unsafe.Pointer)

//go:wasmimport flocker:plugin/cluster@0.1.0 [resource-drop]view
func viewDrop(view uint32)

//go:wasmimport flocker:plugin/log@0.1.0 write
func logWrite(level uint32, message string, fields unsafe.Pointer, length uint32)

//go:wasmimport flocker:plugin/metrics@0.1.0 counter-add
func metricsCounterAdd(name string, value uint64)

// Drop ends the loan.
func (v View) Drop() { viewDrop(uint32(v)) }

// Rows counts the rows of a table.
func (v View) Rows(table string) uint32 {
	out := new(Option[uint32])
	viewRows(uint32(v), table, unsafe.Pointer(out))
	return out.value
}

// Numbers fetches a column; nil when there is none.
func (v View) Numbers(table, column string) []uint64 {
	out := new(Option[List[uint64]])
	viewU64s(uint32(v), table, column, unsafe.Pointer(out))
	if out.some == 0 {
		return nil
	}
	return out.value.Get()
}

// Texts fetches a column; nil when there is none, and a nil in it where a row has none. Every text crosses the border once,
// however many rows have it.
func (v View) Texts(table, column string) []*string {
	out := new(Option[List[uint32]])
	viewIDs(uint32(v), table, column, unsafe.Pointer(out))
	if out.some == 0 {
		return nil
	}
	ids := out.value.Get()
	places := make(map[uint32]int)
	var distinct []uint32
	for _, id := range ids {
		if _, known := places[id]; id != 0 && !known {
			places[id] = len(distinct)
			distinct = append(distinct, id)
		}
	}
	said := new(List[String])
	viewTexts(uint32(v), unsafe.Pointer(unsafe.SliceData(distinct)), uint32(len(distinct)), unsafe.Pointer(said))
	texts := make([]string, len(distinct))
	for i, text := range said.Get() {
		texts[i] = text.Get()
	}
	cells := make([]*string, len(ids))
	for row, id := range ids {
		if id != 0 {
			cells[row] = &texts[places[id]]
		}
	}
	return cells
}

// Log writes to the node's log.
func Log(level uint32, message string) { logWrite(level, message, nil, 0) }

// Count adds to a metric of the node's.
func Count(metric string, more uint64) { metricsCounterAdd(metric, more) }
