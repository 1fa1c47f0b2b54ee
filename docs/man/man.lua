-- SPDX-License-Identifier: Apache-2.0
-- What pandoc(1) needs to know to make a manual page of our Markdown, in the form that man-pages(7) wants: the heading of
-- the document is the name of the page, sections are one level down and in capitals, literal text is bold, examples are
-- indented, and a table of two columns is a list of terms.

local function plain_first(blocks)
  -- A paragraph macro right after a heading says nothing, and mandoc(1) complains.
  for i = 2, #blocks do
    if blocks[i - 1].t == "Header" then
      if blocks[i].t == "Para" then blocks[i] = pandoc.Plain(blocks[i].content) end
      if blocks[i].t == "RawBlock" then blocks[i].text = blocks[i].text:gsub("^%.PP\n", "") end
    end
  end
  return blocks
end

local function roff(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("\n([.'])", "\n\\&%1")
  return (text:gsub("^([.'])", "\\&%1"))
end

local function terms(list)
  if #list.colspecs ~= 2 then error("a table of a manual page has two columns") end
  local items = {}
  for _, body in ipairs(list.bodies) do
    for _, row in ipairs(body.body) do
      table.insert(items, {row.cells[1].contents[1].content, {row.cells[2].contents}})
    end
  end
  return pandoc.DefinitionList(items)
end

local function heading(header)
  if header.level == 1 then return {} end
  if header.level == 2 then
    header = header:walk({Str = function(text) return pandoc.Str(pandoc.text.upper(text.text)) end})
  end
  header.level = header.level - 1
  return header
end

local function literal(code) return pandoc.Strong(pandoc.Str(code.text)) end

local function example(block)
  return pandoc.RawBlock("man", ".PP\n.RS 4\n.nf\n" .. roff(block.text) .. "\n.fi\n.RE")
end

return {{Table = terms}, {Code = literal, CodeBlock = example}, {Header = heading}, {Blocks = plain_first}}
