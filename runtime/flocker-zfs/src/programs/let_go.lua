-- Removes snapshots as soon as no clone stands on them any more: now, or with the last of their clones.
args = ...
for snapshot, guid in pairs(args["snapshots"]) do
    if zfs.exists(snapshot) and zfs.get_prop(snapshot, "guid") == guid then
        local errno = zfs.sync.destroy({ snapshot, defer = true })
        if errno ~= 0 then
            return { outcome = "refused", object = snapshot, errno = errno }
        end
    end
end
return { outcome = "done" }
