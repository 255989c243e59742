"""The graph of a process over a day, as SVG that is readable in light and dark."""

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 760, 120, 70, 20, 30, 46
TITLES = {
    "memory": "Resident memory, MiB",
    "used": "Memory of objects and buffers in use, MiB",
    "descriptors": "File descriptors",
    "threads": "Threads",
}
STYLE = """
    .card{fill:#f7f9fb}.t{fill:#1c2733}.s{fill:#44546a;font-size:12px}.g{stroke:#c8d1dc}
    .v{fill:none;stroke:#1f6fb2;stroke-width:1.6}.w{fill:#44546a;opacity:.1}.e{text-anchor:end}
    .m{text-anchor:middle}
    @media (prefers-color-scheme:dark){.card{fill:#1b222b}.t{fill:#e6ebf1}.s{fill:#a9b6c6}
    .g{stroke:#3a4654}.v{stroke:#6cb4f0}.w{fill:#a9b6c6}}
"""


def ceiling(value):
    """Return a round number that is not below a value."""
    step = 1
    while True:
        for factor in (1, 2, 2.5, 5):
            if step * factor * 4 >= value:
                return int(step * factor * 4)
        step *= 10


def draw(samples, settled):
    """Return the graph of samples, each with hour, memory, descriptors and threads. settled: the
    hours that may grow, which are shaded."""
    hours = max(1.0, samples[-1].hour)
    height = TOP + len(TITLES) * (PANEL + GAP)

    def x(hour):
        return LEFT + (WIDTH - LEFT - RIGHT) * hour / hours

    parts = []
    for number, (name, title) in enumerate(TITLES.items()):
        top = TOP + number * (PANEL + GAP)
        values = [getattr(sample, name) for sample in samples]
        most = ceiling(max(values))

        def y(value, top=top, most=most):
            return top + PANEL * (1 - value / most)

        parts.append(f'<text class="t" x="{LEFT}" y="{top - 8}">{title}</text>')
        shaded = x(min(settled, hours)) - LEFT
        parts.append(
            f'<rect class="w" x="{LEFT}" y="{top}" width="{shaded:.1f}" height="{PANEL}"/>'
        )
        for line in range(5):
            value = most * line / 4
            parts.append(
                f'<path class="g" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>'
                f'<text class="s e" x="{LEFT - 8}" y="{y(value) + 4:.1f}">{value:g}</text>'
            )
        every = 1 if hours <= 8 else 4
        for hour in range(0, int(hours) + 1, every):
            parts.append(
                f'<text class="s m" x="{x(hour):.1f}" y="{top + PANEL + 16}">{hour} h</text>'
            )
        line = " ".join(
            f"{x(sample.hour):.1f},{y(value):.1f}" for sample, value in zip(samples, values)
        )
        parts.append(f'<polyline class="v" points="{line}"/>')
    body = "\n  ".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" \
aria-labelledby="t" font-family="system-ui, sans-serif" font-size="14">
  <title id="t">Memory, file descriptors and threads of siemtap over {hours:.0f} hours</title>
  <style>{STYLE}  </style>
  <rect class="card" width="{WIDTH}" height="{height}" rx="8"/>
  {body}
</svg>
"""
