#!/usr/bin/env bash
# A bar chart (SVG) of CPU per operation from the raw lines of bench/run.sh: a group for each workload, to its own
# scale, a bar for each proxy.
#
# usage: bench/chart.sh FILE >results.svg
set -eu
"$(dirname "$0")/tables.awk" -v table=medians "$1" | awk -F '\t' '
function text(x, y, class, what) {
    gsub(/&/, "\\&amp;", what)
    gsub(/</, "\\&lt;", what)
    body = body sprintf("<text x=\"%d\" y=\"%d\" class=\"%s\">%s</text>\n", x, y, class, what)
}

BEGIN {
    width = 860; left = 150; longest = 560; bar = 18; gap = 5; top = 84; between = 56
    color["penstock"] = "#0b7a75"; color["haproxy-splice"] = "#b4632a"; color["haproxy"] = "#d99a5b"; color["nginx"] = "#7a8798"
}

{
    if ($1 != group[groups])
        group[++groups] = $1
    unit[groups] = $2
    bars[groups]++
    name[groups, bars[groups]] = $3
    label[groups, bars[groups]] = $4
    cpu[groups, bars[groups]] = $5
    if ($5 > most[groups])
        most[groups] = $5
    if ($3 == "penstock")
        own[groups] = $5
    else if (!(groups in best) || $5 < best[groups])
        best[groups] = $5
}

END {
    y = top
    for (g = 1; g <= groups; g++) {
        text(24, y, "group", group[g])
        if (best[g] > 0)
            text(left + longest + 120, y, "ratio", sprintf("Penstock / best other: %.2f", own[g] / best[g]))
        y += 12
        for (b = 1; b <= bars[g]; b++) {
            w = most[g] > 0 ? longest * cpu[g, b] / most[g] : 0
            text(left - 8, y + bar - 5, "name", label[g, b])
            body = body sprintf("<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\" fill=\"%s\"/>\n", left, y, w, bar,
                color[name[g, b]])
            text(left + w + 8, y + bar - 5, name[g, b] == "penstock" ? "value own" : "value",
                unit[g] == "us" ? sprintf("%.2f us", cpu[g, b]) : sprintf("%.3f s/GB", cpu[g, b]))
            y += bar + gap
        }
        y += between - 16
    }
    height = y - 10
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n", width, height, width, height
    print "<title>CPU of the proxy per operation</title>"
    print "<style>text{font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,Helvetica,Arial,sans-serif;font-size:13px;fill:#1f2933}" \
        ".title{font-size:19px;font-weight:600}.sub{fill:#52606d}.group{font-size:14px;font-weight:600}" \
        ".name,.ratio{text-anchor:end}.ratio{fill:#52606d}.own{font-weight:600}</style>"
    printf "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", width, height
    printf "<text x=\"24\" y=\"34\" class=\"title\">CPU of the proxy per operation</text>\n"
    printf "<text x=\"24\" y=\"54\" class=\"sub\">Shorter is better. One worker each; every group has its own scale. Figures: RESULTS.md</text>\n"
    printf "%s</svg>\n", body
}'
