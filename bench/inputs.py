"""The inputs of the program rows. All are made here, the same in every run."""

LUA = """
local function tree(depth)
  if depth == 0 then return {} end
  return {tree(depth - 1), tree(depth - 1)}
end
local function count(node)
  if not node[1] then return 1 end
  return 1 + count(node[1]) + count(node[2])
end
local long, total = tree(SIZE), 0
for _ = 1, 12 do total = total + count(tree(SIZE - 1)) end
local words, index = {}, {}
for i = 1, 2 ^ SIZE * 4 do
  local word = string.rep(string.char(97 + i % 26), i % 40) .. i
  words[#words + 1] = word
  index[word] = {i, word:upper()}
  if i % 3 == 0 then index[words[i // 3]] = nil end
end
print(total, count(long), #table.concat(words))
"""

PYTHON = """
import json, re
class Node:
    __slots__ = ("left", "right", "name")
    def __init__(self, depth):
        self.name = "n%d" % depth
        self.left = Node(depth - 1) if depth else None
        self.right = Node(depth - 1) if depth else None
trees = [Node(12) for _ in range(SIZE)]
table = {}
for i in range(SIZE * 20000):
    table["key-%d" % i] = [i, str(i) * (i % 9), {"a": i}]
    if i % 4 == 3:
        del table["key-%d" % (i // 4)]
text = json.dumps(table)
print(len(json.loads(text)), len(re.findall(r"key-\\d*7", text)), len(trees))
"""

SQL = """
PRAGMA cache_size = -200000;
CREATE TABLE item(id INTEGER PRIMARY KEY, grp INT, name TEXT, value REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < SIZE)
INSERT INTO item SELECT i, i * 7919 % 1009, 'item-' || (i * 104729 % 1000003), i * 0.5 FROM n;
CREATE INDEX item_name ON item(name);
CREATE INDEX item_group ON item(grp, value);
SELECT count(*), sum(length(x)) FROM (SELECT group_concat(name) AS x FROM item GROUP BY grp);
UPDATE item SET name = name || '-' || grp WHERE grp % 5 = 0;
SELECT count(*) FROM item a JOIN item b ON a.name = b.name WHERE a.grp < 300;
DELETE FROM item WHERE id % 3 = 0;
SELECT json_group_array(json_object('id', id, 'name', name)) IS NOT NULL FROM item;
SELECT count(DISTINCT upper(name)) FROM item;
"""

NODE = """
const zlib = require("zlib");
const kept = [];
let total = 0;
for (let i = 0; i < SIZE; i++) {
  const text = Buffer.allocUnsafeSlow(500 + i * 7919 % 60000).fill("line " + i % 97 + ", ");
  const packed = zlib.deflateRawSync(text, {level: 1});
  total += zlib.inflateRawSync(packed).length;
  kept[i % 300] = packed;
  kept[300 + i % 700] = text;
  if (i % 20 === 0) {
    const list = [];
    for (let k = 0; k < 300; k++) list.push({id: k, name: "item-" + i + "-" + k, tags: [k, i]});
    total += JSON.parse(JSON.stringify(list)).length;
  }
}
console.log(total);
"""

JAVA = """
import java.nio.ByteBuffer;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

class Native {
    public static void main(String[] words) throws Exception {
        int size = Integer.parseInt(words[0]);
        ByteBuffer[] kept = new ByteBuffer[500];
        byte[] packed = new byte[80000], text = new byte[60000];
        long total = 0;
        for (int i = 0; i < size; i++) {
            int length = (int) (500 + i * 7919L % 59000);
            ByteBuffer buffer = ByteBuffer.allocateDirect(length);
            for (int k = 0; k < length; k += 8) buffer.put(k, (byte) (i + k % 97));
            Deflater deflater = new Deflater(1);
            deflater.setInput(buffer);
            deflater.finish();
            int count = deflater.deflate(packed);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(packed, 0, count);
            total += inflater.inflate(text);
            inflater.end();
            kept[i % kept.length] = buffer;
        }
        System.out.println(total);
    }
}
"""


def c_source(function_count):
    """A C file that makes a compiler work: many functions with switches and loops."""
    parts = ["#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"]
    for i in range(function_count):
        cases = "\n".join(
            f"        case {k}: a[{k} % 16] += b * {k + i}; b ^= a[(b + {k}) & 15]; "
            f"if (b > {k * i + 7}) {{ s.x[{k % 8}] = a[{k} & 7]; }} break;" for k in range(24))
        parts.append(f"""
struct s{i} {{ long x[8]; char *name; double d[{i % 5 + 1}]; }};
long f{i}(long n, long *a) {{
    struct s{i} s = {{{{0}}}};
    long b = n;
    for (long i = 0; i < n; i++) {{
        switch ((b + i) % 24) {{
{cases}
        }}
        s.d[i % {i % 5 + 1}] += (double)b / (i + 1);
    }}
    return b + s.x[n & 7] + (long)s.d[0];
}}
""")
    calls = "\n".join(f"    r += f{i}(argc + {i}, a);" for i in range(function_count))
    parts.append(f"int main(int argc, char **argv) {{\n    long a[16] = {{0}}, r = 0;\n{calls}\n"
                 '    printf("%ld %s\\n", r, argv[0]);\n    return 0;\n}\n')
    return "".join(parts)


def smt_problem(bits, product):
    """Find two numbers above 1 whose product is this one, in bit vectors."""
    wide = 2 * bits
    return f"""(set-logic QF_BV)
(declare-const p (_ BitVec {bits}))
(declare-const q (_ BitVec {bits}))
(define-fun wp () (_ BitVec {wide}) ((_ zero_extend {bits}) p))
(define-fun wq () (_ BitVec {wide}) ((_ zero_extend {bits}) q))
(assert (= (bvmul wp wq) (_ bv{product} {wide})))
(assert (bvugt p (_ bv1 {bits})))
(assert (bvule p q))
(check-sat)
"""


def postscript(page_count):
    """Pages of text in several fonts, curves, shadings of colour and a clipped pattern."""
    return f"""%!PS-Adobe-3.0
%%Pages: {page_count}
/fonts [/Times-Roman /Helvetica-Bold /Courier /Palatino-Italic] def
/str 20 string def
1 1 {page_count} {{
  /page exch def
  0 1 39 {{
    /line exch def
    fonts line 4 mod get findfont 8 line 7 mod add scalefont setfont
    40 line 18 mul 40 add moveto
    (Page ) show page str cvs show ( line ) show line str cvs show
    ( the quick brown fox jumps over the lazy dog, 0123456789) show
  }} for
  0 1 199 {{
    /i exch def
    i 200 div 1 i 200 div sub 0.5 setrgbcolor
    newpath 50 i 2 mul add 100 moveto
    i 3 mul 200 400 i sub 600 page 5 mul add 300 i add 700 curveto
    i 5 mod 0 eq {{ gsave closepath clip 0.9 setgray fill grestore }} {{ stroke }} ifelse
  }} for
  showpage
}} for
"""
