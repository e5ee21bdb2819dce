-- Stands before the programs that check volumes: a property of ours that is set on the dataset itself, for what is
-- inherited says nothing about it. Else an empty text.
local function own(dataset, property)
    local value, source = zfs.get_prop(dataset, "io.flocker:" .. property)
    if source == dataset then
        return value
    end
    return ""
end

