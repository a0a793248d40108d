import { Empty } from '../ui/basics'
export default function Playground() { return <Empty title="Playground" /> }
