# What jq has and jaq has not, or has otherwise.

def leaf_paths: paths(scalars);

def IN(s): any(s == .; .);
def IN(source; s): any(source == s; .);

def INDEX(source; f): reduce source as $row ({}; .[$row | f | tostring] = $row);
def INDEX(f): INDEX(.[]; f);

# All paths are found first, then taken away, the last one first.
def delpaths($paths): reduce ($paths | sort | reverse[]) as $path (.; getpath($path) |= empty);
def del(f): delpaths([path(f)]);

# What is not there is made on the way.
def setpath($path; $value):
  if ($path | length) == 0 then $value
  else
    $path[0] as $key | $path[1:] as $rest
    | if . != null then . elif ($key | type) == "number" then [] else {} end
    | if type == "array" and $key >= length then . + [range(length; $key + 1) | null] end
    | .[$key] |= setpath($rest; $value)
  end;

def @csv:
  [.[] | if type == "string" then "\"" + gsub("\""; "\"\"") + "\""
         elif . == null then ""
         elif type == "number" or type == "boolean" then tojson
         else error("\(type) cannot be a field of CSV") end]
  | join(",");

def @tsv:
  [.[] | if type == "string" then
           gsub("\\\\"; "\\\\") | gsub("\t"; "\\t") | gsub("\n"; "\\n") | gsub("\r"; "\\r")
         elif . == null then ""
         elif type == "number" or type == "boolean" then tojson
         else error("\(type) cannot be a field of TSV") end]
  | join("\t");

def tostream:
  def events($path):
    if (type == "array" or type == "object") and length > 0 then
      (keys_unsorted as $keys
       | ($keys[] as $key | .[$key] | events($path + [$key])), [$path + [$keys[-1]]])
    else [$path, .] end;
  events([]);

def fromstream(f):
  foreach f as $event ({value: null, whole: false};
    (if .whole then {value: null, whole: false} else . end)
    | if ($event | length) == 2 then
        .whole = ($event[0] | length == 0) | .value |= setpath($event[0]; $event[1])
      else .whole = ($event[0] | length == 1) end;
    if .whole then .value else empty end);
