-- Changes volumes if each is still what the caller saw, in one transaction group: all of them or none.
args = ...
local mark = args["mark"]

-- The newest of our snapshots, other people's left out.
local function newest(dataset)
    local found, latest = nil, -1
    for name in zfs.list.snapshots(dataset) do
        local tag = string.sub(name, string.len(dataset) + 2)
        local created = zfs.get_prop(name, "createtxg")
        if string.sub(tag, 1, string.len(mark)) == mark and created > latest then
            found, latest = name, created
        end
    end
    return found
end

for dataset, want in pairs(args["volumes"]) do
    if not zfs.exists(dataset) or own(dataset, "role") ~= want["role"] or own(dataset, "epoch") ~= want["epoch"] then
        return { outcome = "changed", object = dataset }
    end
    if want["newest"] then
        local snapshot = newest(dataset)
        if not snapshot or zfs.get_prop(snapshot, "guid") ~= want["newest"] then
            return { outcome = "changed", object = dataset }
        end
        local tag = string.sub(snapshot, string.len(dataset) + 2)
        if zfs.get_prop(dataset, "written@" .. tag) ~= 0 then
            return { outcome = "written", object = dataset }
        end
    end
end

-- Nothing else happens to the pool in between, so what was found possible above still is.
local function must(errno, object)
    if errno ~= 0 then
        error(object .. ": error " .. errno)
    end
end

for dataset, want in pairs(args["volumes"]) do
    for name, value in pairs(want["set"] or {}) do
        must(zfs.sync.set_prop(dataset, "io.flocker:" .. name, value), dataset)
    end
end
return { outcome = "done" }
