import { useId } from 'preact/hooks'
import type { ComponentChildren } from 'preact'

export interface Tab { id: string; title: ComponentChildren }

// Tabs are a row of tabs with the panel of the chosen one; the arrows move between them.
export function Tabs({ label, tabs, chosen, onChoose, children, end }: { label: string; tabs: Tab[]; chosen: string; onChoose: (id: string) => void; children: ComponentChildren; end?: ComponentChildren }) {
  const base = useId()
  const move = (e: KeyboardEvent) => {
    const at = tabs.findIndex((t) => t.id === chosen)
    const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0
    if (!step) return
    e.preventDefault()
    const next = tabs[(at + step + tabs.length) % tabs.length]!
    onChoose(next.id)
    document.getElementById(`${base}-${next.id}`)?.focus()
  }
  return (
    <div class="tabs">
      <div class="tab-row">
        <div role="tablist" aria-label={label} onKeyDown={move}>
          {tabs.map((t) => (
            <button key={t.id} type="button" role="tab" id={`${base}-${t.id}`} aria-selected={t.id === chosen} aria-controls={t.id === chosen ? `${base}-panel` : undefined}
              tabIndex={t.id === chosen ? 0 : -1} onClick={() => onChoose(t.id)}>{t.title}</button>
          ))}
        </div>
        {end}
      </div>
      <div role="tabpanel" id={`${base}-panel`} class="tab-panel" aria-labelledby={`${base}-${chosen}`}>{children}</div>
    </div>
  )
}
