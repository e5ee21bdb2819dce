-- Reads all that is to know about one volume, at one moment.
args = ...
local parent, dataset, mark = args["parent"], args["dataset"], args["mark"]

local answer = { parent = zfs.exists(parent), exists = zfs.exists(dataset) }
if not answer.exists then
    return answer
end

-- What is inherited says nothing about the dataset itself.
for _, name in ipairs({ "role", "epoch", "size", "reserved", "secret" }) do
    local value, source = zfs.get_prop(dataset, "io.flocker:" .. name)
    if source == dataset then
        answer[name] = value
    end
end
for _, name in ipairs({ "readonly", "refquota", "refreservation", "referenced", "encryption", "keystatus" }) do
    answer[name] = zfs.get_prop(dataset, name)
end
local incoming = dataset .. "/%recv"
if zfs.exists(incoming) then
    answer.incoming = true
    answer.token = zfs.get_prop(incoming, "receive_resume_token")
else
    answer.token = zfs.get_prop(dataset, "receive_resume_token")
end

local ours, others = {}, {}
for name in zfs.list.snapshots(dataset) do
    local tag = string.sub(name, string.len(dataset) + 2)
    if string.sub(tag, 1, string.len(mark)) == mark then
        ours[string.sub(tag, string.len(mark) + 1)] = {
            guid = zfs.get_prop(name, "guid"),
            createtxg = zfs.get_prop(name, "createtxg"),
            creation = zfs.get_prop(name, "creation"),
            referenced = zfs.get_prop(name, "referenced"),
        }
    else
        others[name] = true
    end
end
answer.snapshots, answer.others = ours, others
return answer
