import type { ComponentChildren } from 'preact'

export interface Column<T> {
  title: string
  cell: (row: T) => ComponentChildren
  end?: boolean // numbers stand at the right
  wide?: boolean // takes the room that is left
}

// Table is a table with a caption for screen readers. On a phone it scrolls within its own frame.
export function Table<T>({ caption, columns, rows, id, empty }: { caption: string; columns: Column<T>[]; rows: T[]; id: (row: T) => string; empty?: ComponentChildren }) {
  if (rows.length === 0 && empty) return <>{empty}</>
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-label={caption}>
      <table class="table">
        <caption class="unseen">{caption}</caption>
        <thead><tr>{columns.map((c) => <th key={c.title} scope="col" class={c.end ? 'end' : ''}>{c.title}</th>)}</tr></thead>
        <tbody>
          {rows.map((row) => <tr key={id(row)}>{columns.map((c) => <td key={c.title} class={`${c.end ? 'end' : ''} ${c.wide ? 'wide' : ''}`}>{c.cell(row)}</td>)}</tr>)}
        </tbody>
      </table>
    </div>
  )
}
