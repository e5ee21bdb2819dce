-- The bytes that were written to each volume since a snapshot of it. Those that cannot be told are left out.
args = ...
local answer = {}
for dataset, name in pairs(args["volumes"]) do
    if zfs.exists(dataset .. "@" .. name) then
        answer[dataset] = zfs.get_prop(dataset, "written@" .. name)
    end
end
return answer
