// Two totals of twelve 4-bit values, and which is larger: written by hand, to see what the engines make of it.
// A frame is 3 beats of 4 values in; 5 bytes out: two 16-bit totals, the class. Two results wait in a FIFO.
module totals (
    input  wire aclk,
    input  wire aresetn,
    input  wire [15:0] s_axis_tdata,
    input  wire s_axis_tvalid,
    output wire s_axis_tready,
    input  wire s_axis_tlast,
    output wire [7:0] m_axis_tdata,
    output wire m_axis_tvalid,
    input  wire m_axis_tready,
    output wire m_axis_tlast
);
    reg [1:0] beat = 0;
    reg [15:0] sum, difference;
    wire [15:0] left = s_axis_tdata[3:0] + s_axis_tdata[7:4];
    wire [15:0] right = s_axis_tdata[11:8] + s_axis_tdata[15:12];
    wire [15:0] next_sum = (beat == 0 ? 16'd0 : sum) + left + right;
    wire [15:0] next_difference = beat == 0 ? left + right : beat == 1 ? difference + left - right : difference - left - right;

    wire [31:0] scores_data = {next_difference, next_sum};
    wire scores_valid = s_axis_tvalid && s_axis_tready && beat == 2;
    wire scores_ready = 1'b1;

    reg [31:0] fifo [0:1];
    reg write, read;
    reg [1:0] count;
    reg [2:0] place;
    assign s_axis_tready = count != 2;
    wire move = m_axis_tvalid && m_axis_tready;
    wire pop = move && m_axis_tlast;
    wire [31:0] scores = fifo[read];
    wire [39:0] result = {7'd0, $signed(scores[31:16]) > $signed(scores[15:0]), scores};
    assign m_axis_tdata = result[8 * place +: 8];
    assign m_axis_tvalid = count != 0;
    assign m_axis_tlast = place == 4;

    always @(posedge aclk) begin
        if (s_axis_tvalid && s_axis_tready) begin
            sum <= next_sum;
            difference <= next_difference;
        end
        if (scores_valid) fifo[write] <= scores_data;
    end

    always @(posedge aclk)
        if (!aresetn) begin
            beat <= 0;
            write <= 0;
            read <= 0;
            count <= 0;
            place <= 0;
        end else begin
            if (s_axis_tvalid && s_axis_tready) beat <= beat == 2 ? 0 : beat + 1;
            if (scores_valid) write <= !write;
            if (pop) read <= !read;
            count <= count + scores_valid - pop;
            if (move) place <= m_axis_tlast ? 0 : place + 1;
        end
endmodule
