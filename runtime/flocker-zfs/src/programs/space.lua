-- The space of the pool, as far as it is ours to use.
args = ...
local parent = args["parent"]
if not zfs.exists(parent) then
    return { parent = false }
end
return { parent = true, used = zfs.get_prop(parent, "used"), available = zfs.get_prop(parent, "available") }
