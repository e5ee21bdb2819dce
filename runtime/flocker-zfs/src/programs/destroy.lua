-- Removes snapshots of volumes in one transaction group, if all are what the caller means: those that are not there, or are
-- others of the same name, are left out. All of them or none. Answers of which volumes any was removed.
args = ...

local doomed = {}
for dataset, want in pairs(args["volumes"]) do
    if not zfs.exists(dataset) then
        return { outcome = "changed", dataset = dataset }
    end
    local role, known = own(dataset, "role"), tonumber(own(dataset, "epoch"))
    local ours = role == "live" or role == "sealed" or role == "replica"
    if not ours or not known or want["epoch"] < known then
        return { outcome = "changed", dataset = dataset }
    end
    for snapshot, guid in pairs(want["destroy"]) do
        if zfs.exists(snapshot) and zfs.get_prop(snapshot, "guid") == guid then
            local errno = zfs.check.destroy(snapshot)
            if errno ~= 0 then
                return { outcome = "refused", dataset = dataset, object = snapshot, errno = errno }
            end
            doomed[snapshot] = dataset
        end
    end
end

-- Nothing else happens to the pool in between, so what was found possible above still is.
local destroyed = {}
for snapshot, dataset in pairs(doomed) do
    local errno = zfs.sync.destroy(snapshot)
    if errno ~= 0 then
        error(snapshot .. ": error " .. errno)
    end
    destroyed[dataset] = true
end
return { outcome = "done", destroyed = destroyed }
