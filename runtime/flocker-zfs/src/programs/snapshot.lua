-- Takes a snapshot of each volume, and a bookmark of it, in one transaction group: of all of them or of none. One that is
-- there is answered again. Answers them all.
args = ...
local name = args["name"]

local missing = {}
for dataset, epoch in pairs(args["volumes"]) do
    if not zfs.exists(dataset) then
        return { outcome = "changed", object = dataset }
    end
    local role, known = own(dataset, "role"), tonumber(own(dataset, "epoch"))
    local there = zfs.exists(dataset .. "@" .. name)
    local may = role == "live" or role == "sealed" or (role == "replica" and there)
    if not may or not known or epoch < known then
        return { outcome = "changed", object = dataset }
    end
    if not there then
        local errno = zfs.check.snapshot(dataset .. "@" .. name)
        if errno ~= 0 then
            return { outcome = "refused", object = dataset .. "@" .. name, errno = errno }
        end
        table.insert(missing, dataset)
    end
end

-- Nothing else happens to the pool in between, so what was found possible above still is.
for _, dataset in ipairs(missing) do
    local snapshot = dataset .. "@" .. name
    local errno = zfs.sync.snapshot(snapshot)
    if errno ~= 0 then
        error(snapshot .. ": error " .. errno)
    end
    -- It outlives the snapshot, and an increment can begin at it. Without it nothing is lost yet.
    zfs.sync.bookmark(snapshot, dataset .. "#" .. name)
end

local taken = {}
for dataset in pairs(args["volumes"]) do
    local snapshot = dataset .. "@" .. name
    taken[dataset] = {}
    for _, property in ipairs({ "guid", "createtxg", "creation", "referenced" }) do
        taken[dataset][property] = zfs.get_prop(snapshot, property)
    end
end
return { outcome = "done", taken = taken }
