-- Reads all that is to know about one volume, at one moment.
args = ...
local parent, dataset, mark, hidden = args["parent"], args["dataset"], args["mark"], args["hidden"]

local answer = { parent = zfs.exists(parent), exists = zfs.exists(dataset) }
if not answer.exists then
    return answer
end

-- What is inherited says nothing about the dataset itself.
for _, name in ipairs({ "role", "epoch", "size", "reserved", "secret", "way" }) do
    local value, source = zfs.get_prop(dataset, "io.flocker:" .. name)
    if source == dataset then
        answer[name] = value
    end
end
for _, name in ipairs({ "readonly", "refquota", "refreservation", "referenced", "encryption", "keystatus" }) do
    answer[name] = zfs.get_prop(dataset, name)
end
for _, name in ipairs({ "recordsize", "compression" }) do
    local value, source = zfs.get_prop(dataset, name)
    if source == dataset then
        answer[name] = value
    end
end
local incoming = dataset .. "/%recv"
if zfs.exists(incoming) then
    answer.incoming = true
    answer.token = zfs.get_prop(incoming, "receive_resume_token")
else
    answer.token = zfs.get_prop(dataset, "receive_resume_token")
end

-- The clones of a snapshot, and whether each of them is a volume.
local function clones_of(snapshot)
    local clones = {}
    if zfs.get_prop(snapshot, "numclones") > 0 then
        for clone in zfs.list.clones(snapshot) do
            local _, source = zfs.get_prop(clone, "io.flocker:role")
            clones[clone] = source == clone
        end
    end
    return clones
end

local ours, others, origins = {}, {}, {}
for name in zfs.list.snapshots(dataset) do
    local tag = string.sub(name, string.len(dataset) + 2)
    local is_ours = string.sub(tag, 1, string.len(mark)) == mark
    local is_hidden = string.sub(tag, 1, string.len(hidden)) == hidden
    if is_ours or is_hidden then
        local clones = clones_of(name)
        if is_hidden or next(clones) then
            local guid, createtxg = zfs.get_prop(name, "guid"), zfs.get_prop(name, "createtxg")
            origins[name] = { guid = guid, createtxg = createtxg, hidden = is_hidden, clones = clones }
        end
    end
    if is_ours then
        ours[string.sub(tag, string.len(mark) + 1)] = {
            guid = zfs.get_prop(name, "guid"),
            createtxg = zfs.get_prop(name, "createtxg"),
            creation = zfs.get_prop(name, "creation"),
            referenced = zfs.get_prop(name, "referenced"),
        }
    elseif not is_hidden then
        others[name] = true
    end
end
answer.snapshots, answer.others, answer.origins = ours, others, origins
return answer
