-- The bytes that were written to a volume since each of these snapshots. Those that are not there are left out.
args = ...
local answer = {}
for snapshot in pairs(args["snapshots"]) do
    if zfs.exists(snapshot) then
        local at = string.find(snapshot, "@")
        answer[snapshot] = zfs.get_prop(string.sub(snapshot, 1, at - 1), "written" .. string.sub(snapshot, at))
    end
end
return answer
